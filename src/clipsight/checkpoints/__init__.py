"""Finding and reading weights and configurations. Untrusted input ends here."""

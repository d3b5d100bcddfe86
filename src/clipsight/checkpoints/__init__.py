"""Find and read weights and configurations. Untrusted input is checked here."""

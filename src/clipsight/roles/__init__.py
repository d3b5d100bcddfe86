"""The roles of a caption's words: objects, attributes and relations; and foils made from them."""

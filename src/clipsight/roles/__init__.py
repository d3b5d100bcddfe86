"""What the words of a caption do: objects, attributes, relations, and foils made from them."""

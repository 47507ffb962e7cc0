"""What names the style of a picture, and how sure a share is."""

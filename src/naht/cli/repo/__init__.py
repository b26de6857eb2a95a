"""`naht repo …`: the signed repository, from the side of those who publish it."""

"""The artifact: one file that holds a manifest and one relocatable ELF image per architecture."""

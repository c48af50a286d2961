"""What the frameworks' own neurons do by default: claims that are measured, one file a framework."""

"""What a fine-tune will do and take, settled before its first step."""

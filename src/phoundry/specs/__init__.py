"""What users write and what they are shown: one pydantic model per resource."""

"""What a model wrote as arguments, read strictly: the JSON, the schema, the closed table of lossless readings."""

"""A cascade: what the application says of its calls of speech-to-text, language and text-to-speech models."""

"""Calls models behind an OpenAI-compatible HTTP API: OpenAI, vLLM, LiteLLM, Ollama, Clarifai and many others.

Begin with `endpoint`; `chat`, `responses` and `embeddings` say what is asked and what an answer becomes.
"""

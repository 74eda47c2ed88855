"""The embedded server's second interface: its models behind the OpenAI-compatible API over HTTP.

It needs aiohttp and the rest of `pipelines/embedded`. Begin with `service`, which answers the requests; `telling` lists
the models, and `chat`, `responses` and `embeddings` read and write one form of the API each.
"""

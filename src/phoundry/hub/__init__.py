"""Hugging Face's hub, or a mirror of it: what a repository holds, and bringing files of it here.

Models and data sets both come through here. Where the hub is (`HF_ENDPOINT`), who asks
(`HF_TOKEN`), where the user's own cache is (`HF_HOME`) and whether the network may be used
(`HF_HUB_OFFLINE`) is read as the package `huggingface_hub` reads it, each time it is asked for.
"""

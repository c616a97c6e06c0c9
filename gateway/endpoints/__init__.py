"""The data plane's endpoints, one module each: from an HTTP request to the pipeline and back."""

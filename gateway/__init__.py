"""The data plane and its pages: from a client's request to the record in the spool."""

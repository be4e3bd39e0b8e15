"""The commands of ``irllrec``, one module each, thin over the public API."""

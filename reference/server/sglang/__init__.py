"""SGLang's own interface."""

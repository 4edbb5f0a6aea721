"""A packaged model in the form that another server or a device loads; one file a form."""

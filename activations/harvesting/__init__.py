"""Networks and examples into stores, and the images that networks are shown."""

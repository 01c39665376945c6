"""What the lessons ask to predict, kept apart from the notebooks so that no cell tells the answer."""

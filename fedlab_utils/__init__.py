"""Helpers behind the lessons: one small module for each idea, readable in one sitting."""

__version__ = "0.1.0"

"""Recurrent networks that are reminded of their past."""

"""Alembic migrations of the store, run by ``heed.feedback.database``.

A new one is a file in ``versions/`` that names its ``down_revision``; it makes the tables with ``op``, never from
``schema.py``, which moves on while a migration must not.
"""

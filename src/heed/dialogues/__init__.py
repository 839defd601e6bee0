"""Conversations found in raw text: interviews, questions with answers, transcripts, plays. No torch."""

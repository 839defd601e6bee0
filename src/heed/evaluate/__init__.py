"""Proof that a policy got better: metrics of texts and scores, comparisons with intervals, the report. No torch."""

"""Multi-run experiments, resumable and shared between processes: splits, few labels, cross-dataset, sweeps."""

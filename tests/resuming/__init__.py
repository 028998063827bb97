"""Tasks whose workers are killed at random moments, and what they find when they go on."""

"""Programs that act for everyone: the oracle publisher and the liquidator."""

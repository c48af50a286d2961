"""The LSNN: one recurrent layer of leaky integrate-and-fire neurons whose thresholds may adapt."""

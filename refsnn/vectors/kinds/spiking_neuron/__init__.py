"""One layer of leaky integrate-and-fire neurons."""

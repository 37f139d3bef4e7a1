"""From runs to operating points on a curve: what is compared with what, on which costs and quality."""

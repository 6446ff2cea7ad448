"""How fast a virtual node computes, and how it is held to that speed."""

"""How a node is reached: what Ansible and OpenSSH say of it, and a Fabric connection that does as they say."""

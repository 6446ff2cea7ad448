"""Makes the image roles' Python importable as `images`, the way the roles run it."""

import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
ROLES = REPOSITORY / "ansible" / "roles"
IMAGES_PATH = ROLES / "image_tools" / "files"

sys.path.insert(0, str(IMAGES_PATH))

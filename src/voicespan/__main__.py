"""`python -m voicespan` is `voicespan`."""

import sys

from voicespan.cli import main

sys.exit(main())

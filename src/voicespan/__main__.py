"""`python -m voicespan` is `voicespan`."""

import sys

from voicespan.cli.main import main

sys.exit(main())

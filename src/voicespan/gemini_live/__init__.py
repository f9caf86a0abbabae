"""Traces Gemini Live as the `google-genai` package speaks it, and whatever speaks through that package.

```python
from voicespan.gemini_live import GeminiLiveInstrumentor

GeminiLiveInstrumentor().instrument()
```
"""

from voicespan.gemini_live.instrumentor import GeminiLiveInstrumentor

__all__ = ["GeminiLiveInstrumentor"]

"""`voicespan demo`: a phone call of twenty seconds, traced as any application's would be.

`story` is what is said, `telephone` the caller's microphone and loudspeaker, `restaurant` the application's
own functions, and `openai_agent` the application that connects them to a speech-to-speech model.
`command` puts them together, `report` shows what became of it.
"""

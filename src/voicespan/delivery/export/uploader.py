"""Delivers one folder: its batches, then its root, until everything is settled or has to wait."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from voicespan.delivery.export import live_runs, requests, run_requests, scores
from voicespan.delivery.export.delivery_state import Batch, DeliveryState, Encoding, Outcome, Step
from voicespan.delivery.export.responses import Action, Answer
from voicespan.delivery.spool import recordings
from voicespan.delivery.spool.folder import PROGRESS, ROOT, RecordingResult

if TYPE_CHECKING:
    from collections.abc import Callable

    from voicespan.delivery.destination.destination import Destination
    from voicespan.delivery.destination.privacy import Privacy
    from voicespan.delivery.encoding.protobuf import Message
    from voicespan.delivery.export.run_links import RunLinks
    from voicespan.delivery.spool.folder import Folder
    from voicespan.runtime.clock import Clock

_logger = logging.getLogger("voicespan")

#: Scores that the server does not take are tried again so often: the conversation itself is delivered.
_MOST_SCORE_TRIES = 8
_TOO_LARGE = Answer(413, "larger than any request can be", reached=False)


class Uploads(Protocol):
    """What brings a complete folder to its destination."""

    def deliver(self, folder: Folder) -> Answer | None:
        """Bring it there; None, or the answer that it has to wait after.

        Raises:
            OSError: a file of the folder cannot be read, or written.
        """

    def failure(self, answer: Answer) -> str:
        """Why nothing was taken, in words."""


class Uploader:
    """Brings folders to one destination, each in the thread that calls."""

    def __init__(
        self,
        destination: Destination,
        post: Callable[[Message], Answer],
        clock: Clock,
        privacy: Privacy,
        *,
        scored_project: Callable[[], str | None] | None = None,
        scores_all: bool = True,
        has_time: Callable[[Folder], bool] = lambda _: True,
        links: RunLinks | None = None,
    ) -> None:
        """`scored_project`: the figures of conversations become feedback, and this asks for the project's id.

        `scores_all`: also where a folder does not ask for it. `has_time`: whether a recording is encoded before it goes,
        where its process has left that to its deliverer. `links`: says where what is delivered is seen.
        """
        self._has_time = has_time
        self._links = links
        self._scores_all = scores_all
        self._scored_project = scored_project if destination.takes_runs else None
        self._project_id: str | None = None
        self._destination = destination
        self._post = post
        self._clock = clock
        self._privacy = privacy
        self._said: dict[str, object] = {}

    def deliver(self, folder: Folder) -> Answer | None:
        """Send what is left of a complete folder, which is then gone, or kept for a person to look at.

        Returns:
            None, or the answer that it has to wait after.

        Raises:
            OSError: a file of the folder cannot be read.
        """
        progress = DeliveryState.of(folder.files.read(PROGRESS))
        if not progress.root_sent and self._has_time(folder):
            recordings.encode(folder)
        if progress.runs is None:
            requests.cut(folder, progress)
        else:
            live_runs.cut(folder, progress, progress.runs)
        has_root = not folder.meta.standalone and folder.files.exists(ROOT)
        while (what := progress.next(self._now(), has_root=has_root)) is not Step.DONE:
            answer, sent_before, recording = self._send(folder, progress, what)
            encoding, is_live = progress.encoding, progress.runs is not None
            outcome = progress.answered(
                what, answer, self._now(), sent_before=sent_before, recording=recording
            )
            if progress.encoding is Encoding.SMALLER and encoding is Encoding.RECORDING:
                self._shrink(folder, progress)
            if is_live and progress.runs is None:
                # Its runs were refused before there was one: what was cut for them is cut anew.
                requests.cut(folder, progress)
            if outcome is Outcome.SPLIT and isinstance(what, Batch):
                progress.split(what, requests.halves(folder, what))
            self._save(folder, progress)
            self._describe(answer, sent_before=sent_before)
            if outcome is Outcome.WAIT:
                return answer
        late = self._score(folder, progress) if has_root else None
        if late is None:
            if self._links is not None and has_root and progress.root_delivered_at is not None:
                self._links.say(folder, folder.files.read(ROOT) or b"")
            self._close(folder, progress)
        return late

    def _score(self, folder: Folder, progress: DeliveryState) -> Answer | None:
        """Deliver the scores of a conversation, which is there; the answer that they have to wait after, or None."""
        if self._scored_project is None or progress.scored or progress.root_delivered_at is None:
            return None
        terms = folder.meta.terms
        if not (self._scores_all if terms is None else terms.feedback):
            return None
        # A project is made when its first run arrives. Without its id a run is found as well, for the time being.
        self._project_id = self._project_id or self._scored_project()
        body = scores.body_of(folder, self._project_id)
        answer = None if body is None else self._post(body)
        progress.score_tries += 1
        late = answer is not None and answer.action is Action.LATER
        progress.scored = not late or progress.score_tries >= _MOST_SCORE_TRIES
        self._save(folder, progress)
        if answer is None or answer.action in (Action.DELIVERED, Action.DUPLICATE):
            return None
        if progress.scored:
            self._say(f"{self._destination.shown} did not take the scores of a conversation ({answer})")
            return None
        return replace(answer, words=f"scores: {answer.words}")

    def failure(self, answer: Answer) -> str:
        """Why nothing was taken, in words."""
        destination = self._destination
        if answer.action is Action.KEY and destination.through_collector:
            return f"{destination.shown} has no valid key for LangSmith, or wants a login ({answer})"
        if answer.action is Action.KEY:
            return f"{destination.shown} does not take this key ({answer})"
        if answer.action is Action.NOWHERE:
            return f"nobody takes traces at {destination.url} ({answer})"
        return f"{destination.shown} did not take traces ({answer})"

    def _send(self, folder: Folder, progress: DeliveryState, what: Batch | Step) -> tuple[Answer, bool, bool]:
        """The answer, whether it may have been sent before, and whether the recording went along."""
        recording = False
        body: Message | None
        if isinstance(what, Batch):
            body = self._batch(folder, progress, what)
        else:
            body, recording = self._root(folder, progress)
        sent_before = progress.sending(what)
        self._save(folder, progress)
        if body is None:
            return _TOO_LARGE, sent_before, recording
        try:
            return self._post(body), sent_before, recording
        except OSError:
            if not recording:
                raise
            # It broke off in the middle of the recording: the server has no whole request.
            progress.unreadable()
            return Answer(None, "the recording cannot be read", 0.0, reached=False), sent_before, True

    def _batch(self, folder: Folder, progress: DeliveryState, batch: Batch) -> Message:
        if progress.runs is None:
            return requests.batch_body(folder, batch)
        return run_requests.batch_body(folder, progress.runs, batch)

    def _root(self, folder: Folder, progress: DeliveryState) -> tuple[Message | None, bool]:
        settled = folder.recording_result or RecordingResult("none")
        recording = settled.status == "attached" and progress.encoding.with_recording
        try:
            return self._root_body(folder, progress, settled), recording
        except OSError:
            if not recording:
                raise
            progress.unreadable()
            return self._root_body(folder, progress, settled), False

    def _root_body(self, folder: Folder, progress: DeliveryState, settled: RecordingResult) -> Message | None:
        terms = folder.meta.terms
        hide = self._privacy.hide_metadata if terms is None else terms.hide_metadata
        if progress.runs is None:
            return requests.root_body(folder, progress, settled, hide_metadata=hide)
        return run_requests.root_body(folder, progress, progress.runs, settled, hide_metadata=hide)

    def _shrink(self, folder: Folder, progress: DeliveryState) -> None:
        smaller = recordings.smaller(folder, folder.recording_result or RecordingResult("none"))
        if smaller is None:
            progress.no_smaller()
        else:
            folder.set_recording_result(smaller)

    def _close(self, folder: Folder, progress: DeliveryState) -> None:
        """Everything that can be delivered is: remove the folder, or keep what is left of it."""
        settled = folder.recording_result
        recording = None if settled is None else settled.file
        why = None
        if settled is not None and recording is not None:
            why = progress.recording_status or (None if settled.status == "attached" else settled.status)
            if progress.root_was_there:
                why = "another exporter sent the root first"
        refused = progress.root_refused or any(batch.refused for batch in progress.batches)
        if why is None and not refused:
            folder.remove()
            return
        if why is None and recording is not None and progress.root_refused is None:
            folder.files.remove(recording)
        folder.keep()
        if why is not None:
            where = self._destination.shown
            self._say(
                f"a recording could not be attached ({why}) at {where}; it is kept in {folder.files.folder}"
            )

    def _save(self, folder: Folder, progress: DeliveryState) -> None:
        folder.files.replace(PROGRESS, progress.encoded())

    def _describe(self, answer: Answer, *, sent_before: bool) -> None:
        reaction = answer.action
        where = self._destination.shown
        if reaction is Action.REFUSED:
            self._say(f"{where} refused spans ({answer}); they are set aside in the spool")
        elif reaction is Action.DUPLICATE and not sent_before:
            self._say(f"{where} had spans that voicespan had not sent: does another exporter send them too?")
        elif answer.rejected:
            spans = "1 span" if answer.rejected == 1 else f"{answer.rejected} spans"
            self._say(f"{where} did not take {spans} ({answer.words})")

    def _say(self, words: str) -> None:
        """Once per cause; causes differ by their first words."""
        cause = words.split("(", 1)[0]
        # In one step: several threads may find the same.
        first = object()
        if self._said.setdefault(cause, first) is first:
            _logger.warning("voicespan: %s", words)

    def _now(self) -> float:
        return self._clock.time_ns() / 1e9

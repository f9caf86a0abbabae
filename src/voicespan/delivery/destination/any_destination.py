"""Every kind of destination that there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from voicespan.delivery.destination.destination import Destination
    from voicespan.delivery.destination.folder_destination import FolderDestination
    from voicespan.delivery.destination.handed_over import HandedOver

AnyDestination: TypeAlias = "Destination | FolderDestination | HandedOver"

"""Learns how many calls a server works on at once, from refusals that do not say what they are for."""

from __future__ import annotations

from .limiter import Permit

__all__ = ["LearnedPlaces"]


class LearnedPlaces:
    """How many calls may be under way at once, as far as a server's refusals tell.

    A server that is full refuses a call when about as many are under way as it has places: that count is tried as the
    limit. One more is tried after a while, and where that goes well twice as many, until the next refusal. A server
    that refuses a call while far fewer are under way than it worked on before is not full: it refuses for a rate.
    """

    PATIENCE = 100  # calls answered at the limit, from a refusal to the next trial of one more
    PROOFS = (
        2  # trials that went well when a rate would not have refused them: the refusals are those of a rate
    )
    CLEARLY = 0.25  # by which a count must differ from another: answers on their way blur it

    def __init__(self) -> None:
        self.most: int | None = None
        self._under_way = 0
        self._worked_on = 0  # most calls at once of which none was refused
        self._since = 0.0  # when the limit was last lowered
        self.rate = 0  # calls that were accepted in the second before that refusal
        self._quiet = False  # whether a refusal now would not be one of a rate
        self._proofs = 0  # trials at such moments that went well, in a row
        self._at_limit = 0  # calls answered at the limit since it was last changed
        self._patience = 0
        self._step = 1

    def full(self, accepted: int) -> bool:
        """Whether one more call is likely to be refused.

        Args:
            accepted: calls in the second before now.
        """
        if self.most is None or self._under_way < self.most:
            return False
        return self._under_way >= self.most + self._step or not self._try_more(accepted)

    def start(self, permit: Permit) -> None:
        """Note that a call starts."""
        permit.beside = self._under_way
        permit.trial = self._quiet and self.most is not None and permit.beside >= self.most
        self._under_way += 1

    def ended(self, permit: Permit) -> None:
        """Note that a call ended, however it did."""
        self._under_way -= 1
        permit.behind = self._under_way

    def answered(self, permit: Permit) -> None:
        """Note that a call was not refused."""
        # Of calls that start together some are refused, so those beside its start were not all worked on.
        self._worked_on = max(self._worked_on, min(permit.beside, permit.behind) + 1)
        if self.most is None or permit.beside + 1 < self.most or permit.time < self._since:
            return
        if permit.beside + 1 == self.most:
            self._at_limit += 1
        else:
            self.most += self._step
            self._step, self._patience, self._at_limit = 2 * self._step, 0, 0
            self._proofs += permit.trial

    @property
    def disproved(self) -> bool:
        """Whether more were worked on at quiet moments than at those when calls were refused."""
        return self._proofs >= self.PROOFS

    def fits(self, permit: Permit) -> bool:
        """Whether a refusal of this call may be for want of a place."""
        return permit.behind > 0 and permit.behind + 2 > (1 - self.CLEARLY) * self._worked_on

    def refused(self, permit: Permit, now: float, accepted: int) -> None:
        """Lower the limit to the calls that were under way when this one was refused.

        Args:
            accepted: calls in the second before this one.
        """
        if self.most is not None and permit.time < self._since:
            self.most, self.rate = min(self.most, permit.behind), min(self.rate, accepted)
            return
        self._proofs = 0 if permit.trial else self._proofs
        self._patience = self.PATIENCE if self.most is not None and not self._proofs else 0
        self.most = permit.behind
        self._worked_on, self.rate = min(self._worked_on, permit.behind), accepted
        self._since, self._step, self._at_limit = now, 1, 0

    def forget(self) -> None:
        """Apply no limit any more."""
        self.most, self._proofs = None, 0

    def _try_more(self, accepted: int) -> bool:
        """Whether it is time to try more calls at once, at a moment when a refusal would not be one of a rate."""
        assert self.most is not None
        if self._at_limit < max(self._patience, self.most):
            return False
        self._quiet = accepted <= self.rate / 2
        beyond = accepted > (1 + self.CLEARLY) * self.rate + 1
        return self._quiet or beyond or self._at_limit >= 3 * self.PATIENCE

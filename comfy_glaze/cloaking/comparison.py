"""An original and its styled picture, prepared once and compared with many cloaked ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from ..images import View, check_held, panels_of
from ..networks.encoders import Encoder
from ..networks.perceptual import PerceptualMetric, Reference
from .effect import changed_in
from .measures import Measures, MemberShift, feature_distance, pixel_change
from .objectives import OBJECTIVES, Objective
from .views import measured_views, views_by_panel, weighed_sum, weights_of

NOTHING = 1e-12
"""A feature distance that is no larger leaves no direction to move in."""


@dataclass(frozen=True, eq=False)
class ViewTarget:
    """One view of a picture, with what never changes while its cloak does.

    Attributes:
        view: the window and its scale.
        goal: what the distance is taken from: for the objective ``towards`` the features
            (B, C, h, w) of the styled picture in this view.
        before: the distance (B,) that the measures divide by: for ``towards`` that of the untouched
            original.
        unit: what the optimiser divides by, (B,): ``before``, but for a native tile at least 5% of
            the whole picture's, so that a tile which the style hardly touches counts little.
        objective: of the cloak.
        reference: the metric's features of the original; None without a metric.
        encoder: whose features they are.
    """

    view: View
    goal: Tensor
    before: Tensor
    unit: Tensor
    objective: Objective
    reference: Reference | None
    encoder: Encoder

    def distance(self, features: Tensor) -> Tensor:
        """The distance of features (B, C, h, w) of this view from the goal, (B,)."""
        return feature_distance(self.objective.looks(features), self.goal)

    def value(self, features: Tensor) -> Tensor:
        """J of features of this view, (B,), as it is optimised: less for a cloak's than for the
        untouched original's, which is 1 where ``unit`` is ``before``."""
        return self.objective.value(self.distance(features) / self.unit)


@dataclass(frozen=True, eq=False)
class Led:
    """How far one encoder is led by cloaked pictures, (B,) each.

    Attributes:
        shift, shift_native: as of :class:`Measures`.
        before, after: the mean distances of the whole pictures.
    """

    shift: Tensor
    shift_native: Tensor
    before: Tensor
    after: Tensor


@dataclass(frozen=True, eq=False)
class Comparison:
    """An original and its styled picture, prepared for comparison with many cloaked ones.

    Attributes:
        original, styled: images (B, 3, H, W) in [0, 1], or held as levels.
        encoder, metric: Φ and the perceptual metric, which may be None.
        views: the views that are measured, the whole picture, or each panel as a whole, first.
        objective: a key of :data:`comfy_glaze.cloaking.objectives.OBJECTIVES`.
        wraps: whether the pictures repeat, so that their edges meet.
        members: where Φ stands for several encoders, the comparison for each of them.
    """

    original: Tensor
    styled: Tensor
    encoder: Encoder
    metric: PerceptualMetric | None
    views: tuple[View, ...]
    objective: str = "towards"
    wraps: bool = False
    members: tuple[Comparison, ...] = ()
    _kept: dict[View, ViewTarget] = field(default_factory=dict, repr=False)
    _references: dict[View, Reference | None] = field(default_factory=dict, repr=False)

    @classmethod
    @torch.no_grad()
    def of(
        cls,
        original: Tensor,
        styled: Tensor,
        encoder: Encoder,
        metric: PerceptualMetric | None,
        objective: str = "towards",
        wraps: bool = False,
    ) -> Comparison:
        """Check the pictures, and compute the whole picture's target, which every comparison needs.

        A strip keeps the targets of its panels, but not the metric's references, which would be as
        many times the memory.

        Raises:
            ValueError: wrong range or shape, sizes that differ, or a styled picture with the same
                features as the original, so that there is no direction to move in.
        """
        check_held(original, "images")
        check_held(styled, "styled")
        if styled.shape != original.shape:
            raise ValueError(
                f"styled must have the size of the images, {tuple(original.shape)}, "
                f"but it has {tuple(styled.shape)}."
            )
        views = measured_views(original, wraps)
        references: dict[View, Reference | None] = {}

        def compared(phi: Encoder, members: tuple[Comparison, ...] = ()) -> Comparison:
            own = cls(original, styled, phi, metric, views, objective, wraps, members)
            return replace(own, _references=references)

        members = tuple(compared(member) for member, _ in encoder.members)
        comparison = compared(encoder, members)
        for each in comparison.each:
            if len(each.panels) == 1:
                each.keep(each.wholes)
            for view in each.wholes:
                each.target(view)
            if not bool(each.has_direction().all()):
                raise ValueError(
                    "The styled picture must differ from the original, but the encoder "
                    f"{each.encoder.name} sees the same features in both."
                )
        return comparison

    @property
    def panels(self) -> list[View]:
        """The windows of the panels; of any picture but a strip it is one."""
        return panels_of(*self.original.shape[-2:])

    @property
    def wholes(self) -> tuple[View, ...]:
        """The views of the whole picture, or of each panel as a whole."""
        return self.views[: len(self.panels)]

    @property
    def each(self) -> tuple[Comparison, ...]:
        """The comparisons for each encoder, which is this one itself where Φ is but one."""
        return self.members or (self,)

    def has_direction(self) -> Tensor:
        """Which pictures have features that can move somewhere, (B,), for every encoder."""
        can_move = [
            torch.stack([each.target(view).before for view in each.wholes]).amax(dim=0) > NOTHING
            for each in self.each
        ]
        return torch.stack(can_move).all(dim=0)

    def within(self, panel: View) -> Comparison:
        """The comparison of one panel by itself; of any picture but a strip it is this one."""
        if len(self.panels) == 1:
            return self
        moved = {
            view: view.moved(-panel.top, -panel.left) for view in self.views if panel.holds(view)
        }
        references: dict[View, Reference | None] = {}
        return replace(
            self,
            original=panel.cut(self.original),
            styled=panel.cut(self.styled),
            views=tuple(moved.values()),
            wraps=False,
            members=tuple(
                replace(member.within(panel), _references=references) for member in self.members
            ),
            _kept={
                moved[view]: replace(target, view=moved[view])
                for view, target in self._kept.items()
                if view in moved
            },
            _references=references,
        )

    def keep(self, views: Sequence[View]) -> tuple[ViewTarget, ...]:
        """Compute the targets of views, and keep them for as long as this comparison exists."""
        for view in views:
            if view not in self._references:
                self._references[view] = self.reference(view)
            self._kept[view] = replace(self.target(view), reference=self._references[view])
        return tuple(self._kept[view] for view in views)

    @torch.no_grad()
    def target(self, view: View) -> ViewTarget:
        """A view's target as kept, or computed without the metric's reference, and kept so."""
        if view in self._kept:
            return self._kept[view]
        objective = OBJECTIVES[self.objective]
        own = objective.looks(self.encoder(view.of(self.original)))
        styled = own
        if self.styled is not self.original:
            styled = objective.looks(self.encoder(view.of(self.styled)))
        before = feature_distance(own, objective.unit(own, styled))
        unit = before.clamp_min(NOTHING)
        if view not in self.wholes:  # a tile that the style hardly touches must not outweigh others
            unit = torch.maximum(before, 0.05 * self.target(self.wholes[0]).before)
        goal = objective.goal(own, styled)
        self._kept[view] = ViewTarget(view, goal, before, unit, objective, None, self.encoder)
        return self._kept[view]

    @torch.no_grad()
    def reference(self, view: View) -> Reference | None:
        """The metric's features of the original in a view, kept or new; None without a metric."""
        if view in self._references:
            return self._references[view]
        return self.metric.reference(view.of(self.original)) if self.metric else None

    @torch.no_grad()
    def perceptual(self, images: Tensor) -> Tensor:
        """The metric's worst value over the measured views, (B,); zeros without a metric."""
        worst = torch.zeros(images.shape[0], device=images.device)
        for view in self.views:
            reference = self.reference(view)
            if self.metric and reference is not None:
                worst = torch.maximum(worst, self.metric.distance(reference, view.of(images)))
        return worst

    @torch.no_grad()
    def led(self, cloaked: Tensor) -> tuple[Led, ...]:
        """How far each encoder is led by cloaked pictures (B, 3, H, W), the least that
        :meth:`measure` must know of them."""
        return tuple(each._led(cloaked) for each in self.each)

    def _led(self, cloaked: Tensor) -> Led:
        before, after = {}, {}
        for view in self.views:
            target = self.target(view)
            before[view] = target.before
            after[view] = target.distance(self.encoder(view.of(cloaked)))
        areas = sum(weights_of(self.wholes))
        whole_before = weighed_sum(before, self.wholes)
        whole_after = weighed_sum(after, self.wholes)
        shift = self._shift(whole_before, whole_after)
        native = [view for view in self.views if view.native]
        shift_native = self._shift(weighed_sum(before, native), weighed_sum(after, native))
        shift_native = torch.where(shift_native.isfinite(), shift_native, shift)
        return Led(shift, shift_native, whole_before / areas, whole_after / areas)

    @torch.no_grad()
    def measure(
        self,
        cloaked: Tensor,
        perceptual: Tensor | None = None,
        led: Sequence[Led] | None = None,
    ) -> tuple[Measures, ...]:
        """Measure cloaked pictures (B, 3, H, W) in [0, 1], one result per image.

        Args:
            perceptual: the metric's worst value for exactly these pixels, (B,), if already known.
            led: what :meth:`led` gave for exactly these pixels, if already known.
        """
        led = self.led(cloaked) if led is None else led
        perceptual = self.perceptual(cloaked) if perceptual is None else perceptual
        if self.members:
            measured = [
                each.measure(cloaked, perceptual, [own])
                for each, own in zip(self.members, led, strict=True)
            ]
            encoders = [each.encoder for each in self.members]
            return tuple(
                _worst_first(encoders, of_picture) for of_picture in zip(*measured, strict=True)
            )
        (own,) = led
        changed = changed_in(self.wholes, self.original, cloaked, self.encoder)
        linf, psnr = pixel_change(self.original, cloaked)
        height, width = self.original.shape[-2:]
        others = views_by_panel(height, width, self.wraps)[1]
        tiles = sum(view.native for view in others)
        tiles_measured = sum(view.native for view in self.views[len(self.wholes) :])
        return tuple(
            Measures(
                shift_512=float(own.shift[i]),
                shift_native=float(own.shift_native[i]),
                perceptual=float(perceptual[i]) if self.metric else None,
                linf=linf[i],
                psnr=psnr[i],
                distance_before=float(own.before[i]),
                distance_after=float(own.after[i]),
                changed=float(changed[i]),
                tiles=tiles,
                tiles_measured=tiles_measured,
            )
            for i in range(cloaked.shape[0])
        )

    def _shift(self, before: Tensor, after: Tensor) -> Tensor:
        """1 − J, (B,), from the distances of some views together; not finite where they have no
        distance to begin with."""
        return 1 - OBJECTIVES[self.objective].value(after / before)


def _worst_first(encoders: Sequence[Encoder], measures: Sequence[Measures]) -> Measures:
    """One picture's measures by several encoders as one: those of the encoder that is led least."""
    of_members = [
        MemberShift(
            encoder.name,
            encoder.fingerprint,
            encoder.family,
            own.shift_512,
            own.shift_native,
            own.distance_before,
            own.distance_after,
            own.changed,
        )
        for encoder, own in zip(encoders, measures, strict=True)
    ]
    shifts = [own.shift_512 if math.isfinite(own.shift_512) else -math.inf for own in measures]
    order = sorted(range(len(measures)), key=shifts.__getitem__)
    return replace(measures[order[0]], encoders=tuple(of_members[number] for number in order))

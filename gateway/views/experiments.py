"""The page that makes an experiment: it checks model names against the catalog, which analytics does not know."""

from __future__ import annotations

from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods

from accounts import access, roles
from accounts.models import Organization
from analytics import experiments
from gateway import policies
from gateway.catalog.models import CHAT
from gateway.views import routing
from gateway.views.forms import ExperimentForm


@require_http_methods(["GET", "POST"])
@access.organization_view(roles.MANAGE_ROUTING)
def new(request: access.MemberRequest, organization: Organization) -> HttpResponse:
    """Offer the form; on POST make a draft and show it."""
    if request.method != "POST":
        return _page(request, ExperimentForm(organization=organization))
    form = ExperimentForm(request.POST, organization=organization)
    if not form.is_valid():
        return _page(request, form, status=400)
    values = form.cleaned_data
    names: dict[str, str] = {}
    for field in ("control_model", "treatment_model"):
        try:
            names[field] = policies.checked_model(values[field], catalog=routing.catalog())
        except policies.InvalidPolicy as error:
            form.add_error(field, str(error))
    if not form.errors and policies.are_one_model(*names.values(), catalog=routing.catalog()):
        form.add_error("treatment_model", "Choose two different models: both names mean the same one.")
    if form.errors:
        return _page(request, form, status=400)
    try:
        experiment = experiments.create(
            workspace=values["workspace"],
            name=values["name"],
            question=values["question"],
            task_type=values["task_type"],
            unit=values["unit"],
            treatment_share=values["treatment_percent"] / 100,
            primary_metric=values["primary_metric"],
            created_by=request.user,
            actor=access.actor(request),
            now=timezone.now(),
            **names,
        )
    except experiments.InvalidExperiment as error:
        form.add_error(error.field if error.field in form.fields else None, str(error))
        return _page(request, form, status=400)
    return redirect("experiment", organization.slug, experiment.pk)


def _page(request: access.MemberRequest, form: ExperimentForm, *, status: int = 200) -> HttpResponse:
    context = {
        "form": form,
        "models": sorted(model.id for model in routing.catalog().of_kind(CHAT)),
        "task_types": routing.TASK_TYPES,
    }
    return render(request, "gateway/experiment_new.html", context, status=status)

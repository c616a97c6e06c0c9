"""People made by the operator."""

from __future__ import annotations

import pytest
from allauth.account.models import EmailAddress

from accounts import users
from accounts.models import User

pytestmark = pytest.mark.django_db


def test_a_new_person_has_a_confirmed_address_and_no_password() -> None:
    user = users.find_or_create(email=" Alice@Acme.example ")
    address = EmailAddress.objects.get(user=user)
    assert user.email == address.email == "alice@acme.example"
    assert (address.verified, address.primary, user.has_usable_password()) == (True, True, False)


def test_the_same_address_is_the_same_person() -> None:
    assert users.find_or_create(email="alice@acme.example") == users.find_or_create(email="ALICE@acme.example")
    assert User.objects.count() == EmailAddress.objects.count() == 1


@pytest.mark.parametrize("email", ["", "alice", "alice@", "a@b c.example"])
def test_only_an_address_will_do(email: str) -> None:
    with pytest.raises(users.InvalidEmail, match="is not an e-mail address"):
        users.find_or_create(email=email)

"""`/users.*`: the people who logged in or wrote."""

from msgspec import Struct

from airy.http.action import ActionRequest, Reply, action
from airy.http.pagination import page_body
from airy.http.ports import ApiContext
from airy.http.request_bodies import LongText
from airy.http.resource import Resource
from airy.http.response_schemas import PageSchema, UserSchema
from airy.model.render import render_user
from airy.permissions import Permission


class ListUsers(Struct, frozen=True):
    cursor: LongText | None = None
    page_size: int | None = None


class UserReference(Struct, frozen=True):
    id: LongText


@action("/users.list", permission=Permission.READ, body=ListUsers, returns=PageSchema[UserSchema])
async def list_(api: ApiContext, request: ActionRequest[ListUsers]) -> Reply:
    """The people who logged in, or wrote with a signed token, by id."""
    page = await api.store.users(cursor=request.body.cursor, page_size=request.body.page_size)
    return Reply(page_body(page, [render_user(user) for user in page.items]))


@action("/users.revoke-sessions", permission=Permission.ADMINISTER, body=UserReference, status=204)
async def revoke_sessions(api: ApiContext, request: ActionRequest[UserReference]) -> Reply:
    """End all sessions of a user, who has to log in again."""
    return Reply(position=(await api.commands.users.log_out(request.body.id)).position)


RESOURCE = Resource(name="users", component="api-admin", actions=(list_, revoke_sessions))

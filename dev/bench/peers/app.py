"""The list of leads with FastAPI, SQLAlchemy and asyncpg: `app` under uvicorn, `handler` on AWS Lambda."""

import os
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import jwt
from fastapi import Depends, FastAPI, Header, HTTPException
from mangum import Mangum
from pydantic import BaseModel, ConfigDict
from sqlalchemy import DateTime, select, text, true
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import async_sessionmaker, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, aliased, mapped_column

keys = jwt.PyJWKClient(os.environ["JWKS_URL"])
engine = create_async_engine(
    os.environ["DATABASE_URL"],
    pool_size=int(os.environ["POOL_SIZE"]),
    max_overflow=0,
    connect_args={"ssl": False},
    execution_options={"postgresql_readonly": True},
)
sessions = async_sessionmaker(engine, expire_on_commit=False)


class Base(DeclarativeBase):
    type_annotation_map = {datetime: DateTime(timezone=True), dict[str, Any]: JSONB}


class Lead(Base):
    __tablename__ = "leads"

    dealership_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    source: Mapped[str]
    status: Mapped[str]
    lost_reason: Mapped[str | None]
    first_name: Mapped[str | None]
    last_name: Mapped[str | None]
    email: Mapped[str | None]
    phone: Mapped[str | None]
    phone_e164: Mapped[str | None]
    company: Mapped[str | None]
    message: Mapped[str | None]
    vehicle_id: Mapped[UUID | None]
    vehicle_of_interest: Mapped[str | None]
    assigned_to: Mapped[UUID | None]
    attribution: Mapped[dict[str, Any]]
    consent: Mapped[dict[str, Any]]
    first_human_response_at: Mapped[datetime | None]
    first_ai_response_at: Mapped[datetime | None]
    conversation_count: Mapped[int]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]


class Conversation(Base):
    __tablename__ = "conversations"

    dealership_id: Mapped[UUID] = mapped_column(primary_key=True)
    id: Mapped[UUID] = mapped_column(primary_key=True)
    lead_id: Mapped[UUID]
    direction: Mapped[str]
    channel: Mapped[str]
    author_kind: Mapped[str]
    body: Mapped[str]
    created_at: Mapped[datetime]


class Message(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    direction: str
    channel: str
    author_kind: str
    body: str
    created_at: datetime


class Item(BaseModel):
    model_config = ConfigDict(from_attributes=True)

    id: UUID
    source: str
    status: str
    lost_reason: str | None
    first_name: str | None
    last_name: str | None
    email: str | None
    phone: str | None
    phone_e164: str | None
    company: str | None
    message: str | None
    vehicle_id: UUID | None
    vehicle_of_interest: str | None
    assigned_to: UUID | None
    attribution: dict[str, Any]
    consent: dict[str, Any]
    first_human_response_at: datetime | None
    first_ai_response_at: datetime | None
    conversation_count: int
    last_message: Message | None
    created_at: datetime
    updated_at: datetime


class Page(BaseModel):
    items: list[Item]


newest = (
    select(Conversation)
    .where(Conversation.dealership_id == Lead.dealership_id, Conversation.lead_id == Lead.id)
    .order_by(Conversation.created_at.desc(), Conversation.id.desc())
    .limit(1)
    .lateral()
)
LastMessage = aliased(Conversation, newest)
page = (
    select(Lead, LastMessage)
    .outerjoin(LastMessage, true())
    .where(Lead.deleted_at.is_(None))
    .order_by(Lead.created_at.desc(), Lead.id.desc())
    .limit(50)
)
enter = text("select scope.enter_member(:organization, :user, :role, :issued_at)")


def caller(authorization: Annotated[str, Header()]) -> dict[str, Any]:
    token = authorization.removeprefix("Bearer ")
    try:
        claims = jwt.decode(
            token,
            keys.get_signing_key_from_jwt(token),
            algorithms=["RS256"],
            issuer=os.environ["ISSUER"],
            options={"require": ["exp", "iat", "azp", "o"]},
        )
    except jwt.PyJWTError as error:
        raise HTTPException(401) from error
    if claims["azp"] != os.environ["AUTHORIZED_PARTY"]:
        raise HTTPException(401)
    return claims


app = FastAPI()


@app.get("/api/v1/leads")
async def leads(claims: Annotated[dict[str, Any], Depends(caller)]) -> Page:
    who = {
        "organization": claims["o"]["id"],
        "user": claims["sub"],
        "role": claims["o"]["rol"],
        "issued_at": claims["iat"],
    }
    async with sessions() as session, session.begin():
        await session.execute(enter, who)
        rows = (await session.execute(page)).all()
    items = []
    for lead, message in rows:
        lead.last_message = message
        items.append(Item.model_validate(lead))
    return Page(items=items)


handler = Mangum(app, lifespan="off")

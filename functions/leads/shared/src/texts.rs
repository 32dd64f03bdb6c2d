//! The texts of a lead. Their limits, in characters, are those of the columns.
use shared::fields::Text;

/// Characters of a first or last name.
pub const MAX_NAME_CHARS: usize = 100;
/// Characters of a company's name.
pub const MAX_COMPANY_CHARS: usize = 200;
/// Characters of a customer's message.
pub const MAX_MESSAGE_CHARS: usize = 10_000;
/// Characters that describe the vehicle.
pub const MAX_VEHICLE_CHARS: usize = 200;
/// Characters of the reason why a lead is lost.
const MAX_LOST_REASON_CHARS: usize = 500;
/// Characters of one value of an attribution.
pub const MAX_ATTRIBUTION_CHARS: usize = 256;
/// Characters of the version of a consent's text.
pub const MAX_TEXT_VERSION_CHARS: usize = 64;

/// A given name.
pub type FirstName = Text<MAX_NAME_CHARS>;
/// A family name.
pub type LastName = Text<MAX_NAME_CHARS>;
/// The customer's company, or the customer if it is a company.
pub type Company = Text<MAX_COMPANY_CHARS>;
/// The customer's first message.
pub type Message = Text<MAX_MESSAGE_CHARS>;
/// The vehicle that the customer asks about, in their words.
pub type VehicleOfInterest = Text<MAX_VEHICLE_CHARS>;
/// Why a lead is lost.
pub type LostReason = Text<MAX_LOST_REASON_CHARS>;
/// One value of an attribution.
pub(crate) type AttributionValue = Text<MAX_ATTRIBUTION_CHARS>;
/// The version of a consent's text.
pub(crate) type TextVersion = Text<MAX_TEXT_VERSION_CHARS>;

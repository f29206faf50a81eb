// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace firedrill::controller {

/// Whether `header`, the text of X-PagerDuty-Signature, holds a signature of `body` by one of the
/// secrets: "v1=" and the hexadecimal HMAC-SHA256, several with commas between them. Takes as long
/// for a nearly right one as for a wrong one.
bool IsSignedBy(std::string_view header, std::string_view body,
                const std::vector<std::string>& secrets);

}  // namespace firedrill::controller

#include "fuse/user_mapping.h"

#include <fmt/format.h>
#include <grp.h>
#include <pwd.h>

#include <algorithm>
#include <charconv>

#include "core/ondisk/well_known_sids.h"

namespace ntfs::frontend {

using ondisk::Sid;

namespace {

constexpr uint32_t kLowBits = 0x3FFFFFFF;  // of an id, in the last sub authority
constexpr uint32_t kLeastPattern = 1000;
constexpr uint32_t kMostPattern = 0x7FFFFFFF;

/// S-1-5-1 to S-1-5-6: dialup, network, batch, interactive, logon, service.
bool is_special_group(const Sid& sid) {
  return sid.authority == 5 && sid.sub_authorities.size() == 1 && sid.sub_authorities[0] >= 1 &&
         sid.sub_authorities[0] <= 6;
}

bool is_pattern(const Sid& sid) {
  const uint32_t last = sid.sub_authorities.back();
  return ondisk::is_account(sid) && last >= kLeastPattern && last <= kMostPattern;
}

/// 0 for an empty field; nothing for a name that nobody knows.
std::optional<uint32_t> id_in(std::string_view field,
                              std::optional<uint32_t> (*by_name)(const std::string&)) {
  if (field.empty()) return 0;
  uint32_t id = 0;
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), id);
  if (error == std::errc() && end == field.data() + field.size()) return id;
  return by_name(std::string(field));
}

std::string_view trimmed(std::string_view text) {
  constexpr std::string_view kBlanks = " \t\r";
  const size_t first = std::min(text.find_first_not_of(kBlanks), text.size());
  text.remove_prefix(first);
  return text.substr(0, text.find_last_not_of(kBlanks) + 1);
}

}  // namespace

UserMapping::Names UserMapping::names_of_host() {
  const auto user = [](const std::string& name) -> std::optional<uint32_t> {
    const passwd* entry = getpwnam(name.c_str());
    return entry != nullptr ? std::optional<uint32_t>(entry->pw_uid) : std::nullopt;
  };
  const auto group = [](const std::string& name) -> std::optional<uint32_t> {
    const ::group* entry = getgrnam(name.c_str());
    return entry != nullptr ? std::optional<uint32_t>(entry->gr_gid) : std::nullopt;
  };
  return {user, group};
}

UserMapping UserMapping::parse(std::string_view text, const Names& names,
                               std::vector<std::string>& problems) {
  UserMapping mapping;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    const std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
    if (line.empty() || line.front() == '#') continue;
    if (const auto problem = mapping.take_line(line, names)) {
      problems.push_back(fmt::format("user mapping '{}': {}", line, *problem));
    }
  }
  // Lines for groups alone count before those that name a user, too.
  mapping.groups_.insert(mapping.groups_.end(), mapping.further_groups_.begin(),
                         mapping.further_groups_.end());
  mapping.further_groups_.clear();
  return mapping;
}

/// What is wrong with it.
std::optional<std::string> UserMapping::take_line(std::string_view line, const Names& names) {
  const size_t first = line.find(':');
  const size_t second = first == line.npos ? first : line.find(':', first + 1);
  if (second == line.npos) return "it is not of the form user:group:SID";
  const std::string_view user = trimmed(line.substr(0, first));
  const std::string_view group = trimmed(line.substr(first + 1, second - first - 1));
  std::string_view text = line.substr(second + 1);
  text = trimmed(text.substr(0, text.find(':')));
  const auto sid = ondisk::sid_of_text(text);
  if (!sid || !(ondisk::is_account(*sid) || is_special_group(*sid))) {
    return "the SID is not one of a user or group";
  }
  if (user.empty() && group.empty()) {
    if (!is_pattern(*sid)) return "the SID cannot be a pattern";
    if (!pattern_) pattern_ = *sid;
    return std::nullopt;
  }
  const auto uid = id_in(user, names.user);
  const auto gid = id_in(group, names.group);
  if (!uid) return "there is no such user";
  if (!gid) return "there is no such group";
  if (*uid != 0 && is_special_group(*sid)) return "the SID is that of a group";
  if (*uid != 0) users_.push_back({*uid, *sid});
  if (*gid != 0) (user.empty() ? groups_ : further_groups_).push_back({*gid, *sid});
  return std::nullopt;
}

std::optional<Sid> UserMapping::sid_of_user(uint32_t uid) const {
  return sid_of(users_, uid, Of::User);
}
std::optional<Sid> UserMapping::sid_of_group(uint32_t gid) const {
  return sid_of(groups_, gid, Of::Group);
}
uint32_t UserMapping::uid_of(const Sid& sid) const { return id_of(users_, sid, Of::User); }
uint32_t UserMapping::gid_of(const Sid& sid) const { return id_of(groups_, sid, Of::Group); }

std::optional<Sid> UserMapping::sid_of(const std::vector<Line>& lines, uint32_t id, Of of) const {
  if (id == 0) return ondisk::administrators();
  const auto line = std::ranges::find(lines, id, &Line::id);
  if (line != lines.end()) return line->sid;
  if (!pattern_) return std::nullopt;
  Sid sid = *pattern_;
  auto& parts = sid.sub_authorities;
  parts[parts.size() - 1] += 2 * (id & kLowBits) + (of == Of::Group ? 1 : 0);
  parts[parts.size() - 2] += id >> 30;
  return sid;
}

uint32_t UserMapping::id_of(const std::vector<Line>& lines, const Sid& sid, Of of) const {
  const auto line = std::ranges::find(lines, sid, &Line::sid);
  if (line != lines.end()) return line->id;
  if (!pattern_ || sid.sub_authorities.size() != pattern_->sub_authorities.size()) return 0;
  const auto& base = pattern_->sub_authorities;
  const auto& parts = sid.sub_authorities;
  const uint32_t grown = parts.back() - base.back();
  const uint32_t carry = parts[parts.size() - 2] - base[base.size() - 2];
  const bool is_of_pattern = sid.authority == pattern_->authority &&
                             std::equal(base.begin(), base.end() - 2, parts.begin()) &&
                             parts.back() > base.back() && carry < 4 &&
                             grown % 2 == (of == Of::Group ? 1 : 0);
  return is_of_pattern ? ((grown >> 1) & kLowBits) | carry << 30 : 0;
}

}  // namespace ntfs::frontend

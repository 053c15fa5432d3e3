#!/bin/sh
# nmcli-curl.sh DIRECTORY - what nm-cloud-seed does, with nmcli and curl: it
# writes DIRECTORY/meta-data and DIRECTORY/user-data, over a DHCP connection of
# its own if there is none. It stands for what an administrator would write,
# without waiting for NetworkManager, retries, several devices or odd values.
set -eu
export LC_ALL=C
seed=$1

# The connected Ethernet device or, if there is none, the first idle one.
devices=$(nmcli -t -f TYPE,STATE,DEVICE device)
device=$(printf '%s\n' "$devices" | sed -n '/^ethernet:connected:/{s///p;q;}')
if [ -z "$device" ]; then
  device=$(printf '%s\n' "$devices" | sed -n '/^ethernet:disconnected:/{s///p;q;}')
  nmcli connection add save no type ethernet ifname "$device" con-name seed autoconnect no \
    ipv4.method auto ipv4.may-fail no ipv4.dad-timeout 0 ipv6.method disabled >/dev/null
  nmcli --wait 30 connection up seed >/dev/null
fi

router=$(nmcli -t -f DHCP4 device show "$device" | sed -n 's/^DHCP4.*:dhcp_server_identifier = //p')
url=http://$router/latest
get() { curl --silent --show-error --fail --max-time 10 "$@"; }

new=$(mktemp -d "$seed.XXXXXX")
trap 'rm -rf "$new"' EXIT
mkdir "$new/keys"
get --output "$new/user-data" "$url/user-data"
get --output "$new/index" "$url/meta-data/"
# All values one after the other on one connection; a key that is gone (404)
# leaves no file.
sed "s|.*|url = \"$url/meta-data/&\"\noutput = \"$new/keys/&\"|" "$new/index" | get --config - || [ $? = 22 ]
[ -s "$new/keys/instance-id" ]

# Values are strings, whatever they look like: literal blocks of YAML.
(cd "$new/keys" && awk '
  FNR == 1 { print FILENAME ": |-" }
  { print "  " $0 }
' *) >"$new/meta-data"
rm -r "$new/keys" "$new/index"
rm -rf "$seed"
mv "$new" "$seed"

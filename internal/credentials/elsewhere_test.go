package credentials

import (
	"testing"
	"testing/fstest"
)

func TestElsewhere(t *testing.T) {
	for _, tt := range []struct {
		config, more, want string
	}{
		{"", "", ""},
		{"#AuthorizedKeysFile .ssh/authorized_keys .ssh/authorized_keys2\nPort 22\n", "", ""},
		{"AuthorizedKeysFile .ssh/authorized_keys\n", "", ""},
		{"  authorizedkeysfile = \"%h/.ssh/authorized_keys\" /etc/ssh/keys/%u\r\n", "", ""},
		{"AuthorizedKeysFile\t/etc/ssh/keys/%u\n", "", "/etc/ssh/sshd_config"},
		{"AuthorizedKeysFile=/etc/ssh/keys/%u .ssh/authorized_keys\n", "", "/etc/ssh/sshd_config"},
		{"AUTHORIZEDKEYSFILE none", "", "/etc/ssh/sshd_config"},
		{"AuthorizedKeysFile", "", ""},
		{"AuthorizedKeysFileX /x\nAuthorizedKeysCommand /x\n", "", ""},
		{"Port 22\n", "Match all\n AuthorizedKeysFile /x\n", "/etc/ssh/sshd_config.d/10.conf"},
	} {
		fsys := fstest.MapFS{
			"etc/ssh/sshd_config":           {Data: []byte(tt.config)},
			"etc/ssh/sshd_config.d/10.conf": {Data: []byte(tt.more)},
			"etc/ssh/sshd_config.d/README":  {Data: []byte("AuthorizedKeysFile /x\n")},
		}
		if got := Elsewhere(fsys); got != tt.want {
			t.Errorf("%q, %q: %q, want %q", tt.config, tt.more, got, tt.want)
		}
	}
	if got := Elsewhere(fstest.MapFS{}); got != "" {
		t.Errorf("without files: got %q, want nothing", got)
	}
}
